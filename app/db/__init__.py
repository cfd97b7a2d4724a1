"""The database: engine, tables, and one module of SQL per subject. The SQL functions never commit."""
