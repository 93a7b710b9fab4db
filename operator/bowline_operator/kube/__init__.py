"""The operator in a cluster: the same plan as `bowline run`, with Jobs for workers.

    options   what the operator is told at its start
    objects   a try of a role as a Job, with its configuration and its volume   (pure)
    looking   from Jobs and pods, as the cluster shows them, to what the plan is told   (pure)
    cluster   calls to the API server, in plain dictionaries
    pulling   the workers' reports, over HTTP
    shell     one pass: observe, plan, write the status, act
    handlers  kopf: what wakes a pass, and the finalizer
    metrics   what Prometheus sees
    main      `bowline-operator`

It opens no connection to a database and has no right to read Secrets.
"""
