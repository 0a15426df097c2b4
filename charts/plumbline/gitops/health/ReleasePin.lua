-- Health of a ReleasePin. Generated from operator/src/plumbline_operator/rooms by `make generate`.
local waiting = {status = "Progressing", message = "Plumbline has not looked at this state of the spec yet."}
local status = obj.status
if status == nil or status.conditions == nil then
  return waiting
end
if (status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return waiting
end

local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end
local function is_true(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end
local function health(state, condition)
  return {status = state, message = condition.reason .. ": " .. condition.message}
end

if is_true("Stalled") then
  return health("Degraded", found.Stalled)
end
if found.Ready == nil then
  return waiting
end
if is_true("Ready") then
  return health("Healthy", found.Ready)
end
return health("Progressing", found.Ready)
