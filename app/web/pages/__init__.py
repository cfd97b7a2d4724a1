"""The pages of recipients and staff: templates, assets, and texts in both languages."""
