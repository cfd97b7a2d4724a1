"""What several actions share: keys, gates, intake, the ends of shares and transfers, deletion, witnesses."""
