"""The rules: what is a transfer, a share, a claim, and what each allows. No I/O, no framework; time is passed in."""
