"""The database: the engine, the tables, and one module of SQL per subject. Nothing here commits on its own."""
