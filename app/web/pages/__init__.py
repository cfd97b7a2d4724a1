"""The recipient's page: template, assets, and texts in both languages."""
