"""A small memory of what was used last, so that nothing grows with a hostile file."""

from collections import OrderedDict


class Recent:
    """Keeps the values used last, of at most `most` weight together, and makes the others anew."""

    def __init__(self, most, weigh=lambda value: 1):
        self.most = most
        self.weigh = weigh
        self.weight = 0
        self.values = OrderedDict()

    def get(self, key, make):
        """The value of a key; `make()` gives it where it is not kept."""
        if key in self.values:
            self.values.move_to_end(key)
            return self.values[key]
        value = make()
        self.values[key] = value
        self.weight += self.weigh(value)
        while self.weight > self.most and len(self.values) > 1:
            self.forget(next(iter(self.values)))
        return value

    def forget(self, key):
        """Drop the value of a key."""
        if key in self.values:
            self.weight -= self.weigh(self.values.pop(key))
