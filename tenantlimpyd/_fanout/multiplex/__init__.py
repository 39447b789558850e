"""Many databases of one server over few connections: workers, the scheduler that starts them, and the loops that run them.

- Jobs whose databases share an endpoint are a group. A worker does a part of a group's work over one connection.
- A database that needs many requests is continued by any worker of its group, after the keys found so far were delivered, so
  that its pages reach the consumer in order.
- The scheduler takes servers in turn. While other servers have work, a server gets no more than its share of the workers, so
  that a server which hangs delays only its own tenants. It costs one deadline, however many requests were left for it.
- Workers never wait for permits that the run itself holds: a worker that gets none leaves its work to the others, or is
  started again a moment later. Only the first one waits.
- A reply is valid only for a request. A connection that receives a reply without a request is closed.
- The consumer alone decides which tenants are done, and which keys were delivered. If it leaves early, threads and tasks end
  and all connections are released; those with pending replies are closed.
- Of a tenant that is done, a run keeps the id and the outcome; of another tenant, its job.
"""
