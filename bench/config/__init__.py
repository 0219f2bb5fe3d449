"""Typed configuration of a trial: schema, YAML with line numbers, checks across keys, flat parameters and hash.

Import what is needed from the modules: `load` (files), `schema` (types), `flat` (parameters, hash, names),
`yaml_lines` (YAML that remembers lines, for study files too).
"""
