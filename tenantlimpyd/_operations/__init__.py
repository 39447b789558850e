"""Operations: Redis commands as data, and the drivers that run them, blocking or awaiting."""
