"""What crosses image borders: the documents that operator, jobs, serving, router and CLI exchange.

Standard library and pydantic only. A document is JSON, written by one side and validated by the other.
"""
