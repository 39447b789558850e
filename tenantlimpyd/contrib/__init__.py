"""What goes beyond the core, under limpyd's module names."""
