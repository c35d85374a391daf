"""Tool calls in the text of a model: one file a form, how a form is found, and how calls are split off a text. Pure."""
