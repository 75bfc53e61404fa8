import type { ComponentChildren } from 'preact';

interface HeadProps {
  /** Column heads. */
  readonly children: ComponentChildren;
  /** Where the table's rows are counted: 1. */
  readonly rowIndex?: number;
}

/** A table's head. Roles are written out: where rows are laid out as grids, browsers forget them. */
export function TableHead({ children, rowIndex }: HeadProps) {
  return (
    <thead role="rowgroup">
      <tr role="row" aria-rowindex={rowIndex}>
        {children}
      </tr>
    </thead>
  );
}

interface ColumnProps {
  readonly children: ComponentChildren;
  /** How the rows are sorted by this column; left out where they cannot be. */
  readonly sort?: 'ascending' | 'descending' | 'none';
}

/** The head of a column. */
export function ColumnHead({ children, sort }: ColumnProps) {
  return (
    <th role="columnheader" scope="col" aria-sort={sort}>
      {children}
    </th>
  );
}
