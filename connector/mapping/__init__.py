"""Mapping: from a record of anybody's schema to the inputs of one event.

A mapping file is TOML, and its expressions are JMESPath. The package is pure: nothing here reads a
clock, draws a random number or does I/O. The caller reads the tables that a file names.

    syntax        parses an expression, and finds what is wrong with it before any record is read
    functions     every function by name, with the arguments it takes; jmespath_functions,
                  own_functions (lookup, money, consent, the record) and times do the work
    values        the types of values, and what messages call them
    closures      makes a Python function of a parsed expression; conditions and calls make those
                  of logic and of functions, and evaluation has what they share
    native_terms  translates the mappings for native code
    paths         checks the paths of an expression against a writer's schema
    kinds         checks the types of what is there: arguments, comparisons, results
    file          what a mapping file says
    reading       reads a file; refusal collects its problems, and tables reads its tables
    plan          applies a mapping file to the records of one schema: inputs, a flaw, or no event
    presets/      mapping files for well-known schemas
"""
