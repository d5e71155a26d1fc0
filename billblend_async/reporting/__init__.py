"""What people look at afterwards, and meanwhile: a report of a journal, as text, page or table."""
