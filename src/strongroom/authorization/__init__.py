"""Who may use which key: policies, and the decision."""
