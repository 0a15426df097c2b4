"""RegisteredModel: the rule by which versions of one model are judged and approved."""
