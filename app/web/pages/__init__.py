"""The pages that people see: templates, and the texts in both languages."""
