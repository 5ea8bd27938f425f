"""Go's text templates, as far as --format uses them: text -> tokens -> nodes -> output over plain JSON values."""
