"""Many databases of one server over few connections: workers, the scheduler that starts them, and the loops that run them."""
