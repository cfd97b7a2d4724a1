"""Rows held against witnesses outside the database: `judging.py` compares one transfer, `asking.py` asks about all."""
