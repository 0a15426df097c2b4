"""Our server beside KServe's and MLServer's Python servers: same model file, same core, one run."""
