"""Reports and certificates as HTML pages that an auditor or DPO can file, each wholly in one language."""
