"""HTTP: routes per subject, who may call them, and how refusals are told. Routes parse, call actions, and answer."""
