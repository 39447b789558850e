"""A bookshop: an application of limpyd, as its users write them. It knows nothing of any other library."""
