-- A category without a name has no place in its path, so a path may be shorter than the category is deep.
comment on column canonical.categories.depth is 'How deep it hangs: 1 at the top';
comment on column canonical.categories.path is 'Names from the top down to this one; those without a name are left out';
