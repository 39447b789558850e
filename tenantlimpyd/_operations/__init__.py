"""Operations: Redis commands as data, and the drivers that run them, sync or async."""
