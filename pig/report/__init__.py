"""From scores to tables, figures, findings, pages and model cards."""
