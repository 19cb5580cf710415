"""Reports of other machines about our mail: delivery failures and delays, in fields or in free text, and complaints."""
