"""The words of Kubernetes: names, references, conditions, plans. Pure; nothing here does I/O."""
