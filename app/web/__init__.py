"""HTTP: routes per subject, access control, and problem documents. Routes parse requests, call actions, and respond."""
