"""Parts of the docks: form fields, pickers and panels."""
