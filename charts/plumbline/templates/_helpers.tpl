{{- define "plumbline.labels" -}}
app.kubernetes.io/name: plumbline
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "plumbline.selector" -}}
app.kubernetes.io/name: plumbline
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* One image reference: a digest wins over a tag; without either, the chart's own version. */ -}}
{{- define "plumbline.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* CEL: whether the caller may act for others on what the argument selects. A ServiceAccount of the same namespace may not: whoever
edits there can make a token for it, and so the author could act for the approver. */ -}}
{{- define "plumbline.delegate" -}}
>-
        authorizer.group('plumbline.dev').{{ . }}.namespace(request.namespace).check('onbehalf').allowed() &&
        !request.userInfo.username.startsWith('system:serviceaccount:' + request.namespace + ':')
{{- end }}

{{- /* A validation: the caller's own credentials, `unless` a CEL expression holds. Policies see only who is impersonated, but an impersonated request has
no credential id, and nobody gets one without the right to impersonate that very extra. */ -}}
{{- define "plumbline.credential" -}}
{{- if .root.Values.admission.refuseImpersonation }}
- expression: >-
    {{- with .unless }}
    {{ . }} ||
    {{- end }}
    (has(request.userInfo.extra) && 'authentication.kubernetes.io/credential-id' in request.userInfo.extra)
  messageExpression: >-
    'this request as ' + request.userInfo.username + ' carries no credential id, so it may be impersonated. Use your own ' +
    'certificate or token. Where the cluster gives none to anybody, set admission.refuseImpersonation=false in the chart.'
  reason: Forbidden
{{- end }}
{{- end }}
