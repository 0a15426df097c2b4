"""Strangers' hands on what the operator has made, objects that go and come again, namespaces and clusters that end."""
