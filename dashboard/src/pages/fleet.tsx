import { useMemo, useRef, useState } from 'preact/hooks';

import type { PatientSummary } from '../api/types.js';
import { FleetRow } from '../parts/fleet-row.js';
import { PageHeading } from '../parts/page-heading.js';
import { ColumnHead, TableHead } from '../parts/table-head.js';
import { useMedia, useWindowed } from '../parts/windowed.js';
import { useOpenAlarms, useServices, useStore } from '../services.js';
import { arrange, WORST_FIRST, type Order, type SortKey } from '../state/ranking.js';

/** Heights of a row in pixels, as `pages.css` has them. */
const ROW = { wide: 52, narrow: 116 } as const;

const COLUMNS: readonly { readonly key: SortKey | undefined; readonly title: string }[] = [
  { key: 'patient', title: 'Patient' },
  { key: 'level', title: 'Level now' },
  { key: undefined, title: 'Last 60 samples' },
  { key: 'lastSeen', title: 'Last seen' },
  { key: 'alarms', title: 'Alarms' },
];

/** All patients, whoever needs somebody first. */
export function FleetPage() {
  const fleet = useStore(useServices().fleet.view);
  const [search, setSearch] = useState('');
  const [order, setOrder] = useState<Order>(WORST_FIRST);
  const rows = useMemo(() => arrange(fleet?.values() ?? [], search, order), [fleet, search, order]);
  return (
    <>
      <PageHeading title="Fleet">
        <Totals fleet={fleet === undefined ? [] : [...fleet.values()]} />
      </PageHeading>
      <div class="toolbar">
        <label class="field grow">
          Search
          <input
            type="search"
            placeholder="Pseudonym"
            value={search}
            onInput={({ currentTarget }) => {
              setSearch(currentTarget.value);
            }}
          />
        </label>
        <SortChoice order={order} onChange={setOrder} />
      </div>
      {fleet === undefined ? (
        <p class="empty">Loading the patients …</p>
      ) : rows.length === 0 ? (
        <p class="empty">
          {fleet.size === 0 ? 'No patient is enrolled yet.' : 'No pseudonym has that in it.'}
        </p>
      ) : (
        <FleetTable rows={rows} order={order} onOrder={setOrder} />
      )}
    </>
  );
}

function Totals({ fleet }: { fleet: readonly PatientSummary[] }) {
  const open = useOpenAlarms();
  const withAlarm = new Set(open.map(({ patient }) => patient)).size;
  const silent = fleet.filter(({ state }) => state === 'silent').length;
  return (
    <p class="totals">
      <span>
        <b>{fleet.length}</b> {fleet.length === 1 ? 'patient' : 'patients'}
      </span>
      <span>
        <b>{withAlarm}</b> with an alarm not acknowledged
      </span>
      <span>
        <b>{silent}</b> silent
      </span>
    </p>
  );
}

const CHOICES: readonly (readonly [label: string, order: Order])[] = [
  ['Worst first', WORST_FIRST],
  ['Patient', { key: 'patient', descending: false }],
  ['Level now', { key: 'level', descending: true }],
  ['Last seen, longest ago first', { key: 'lastSeen', descending: false }],
  ['Alarms', { key: 'alarms', descending: true }],
];

function SortChoice({ order, onChange }: { order: Order; onChange: (order: Order) => void }) {
  const at = CHOICES.findIndex(([, one]) => one.key === order.key);
  return (
    <label class="field">
      Sort by
      <select
        value={String(at)}
        onChange={({ currentTarget }) => {
          onChange(CHOICES[Number(currentTarget.value)]?.[1] ?? WORST_FIRST);
        }}
      >
        {CHOICES.map(([label], i) => (
          <option key={label} value={String(i)}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

interface TableProps {
  readonly rows: readonly PatientSummary[];
  readonly order: Order;
  readonly onOrder: (order: Order) => void;
}

/** Only rows that are to be seen are drawn. Roles are written out: rows are laid out as grids. */
function FleetTable({ rows, order, onOrder }: TableProps) {
  const body = useRef<HTMLTableSectionElement>(null);
  const rowHeight = useMedia('(max-width: 760px)') ? ROW.narrow : ROW.wide;
  const { first, end } = useWindowed(body, rows.length, rowHeight);
  return (
    <table class="fleet" role="table" aria-label="Patients" aria-rowcount={rows.length + 1}>
      <TableHead rowIndex={1}>
        {COLUMNS.map(({ key, title }) => (
          <HeadCell key={title} title={title} sortKey={key} order={order} onOrder={onOrder} />
        ))}
      </TableHead>
      <tbody role="rowgroup" ref={body} style={{ height: `${rows.length * rowHeight}px` }}>
        {rows.slice(first, end).map((summary, i) => (
          <FleetRow
            key={summary.patient}
            summary={summary}
            index={first + i}
            top={(first + i) * rowHeight}
          />
        ))}
      </tbody>
    </table>
  );
}

interface HeadProps {
  readonly title: string;
  readonly sortKey: SortKey | undefined;
  readonly order: Order;
  readonly onOrder: (order: Order) => void;
}

function HeadCell({ title, sortKey, order, onOrder }: HeadProps) {
  if (sortKey === undefined) return <ColumnHead>{title}</ColumnHead>;
  const sorted = order.key === sortKey;
  const direction = order.descending ? 'descending' : 'ascending';
  return (
    <ColumnHead sort={sorted ? direction : 'none'}>
      <button
        type="button"
        class="sort"
        onClick={() => {
          onOrder(sorted ? { key: sortKey, descending: !order.descending } : firstOrder(sortKey));
        }}
      >
        {title}
        <span class="arrow" aria-hidden="true">
          {sorted ? (order.descending ? '▼' : '▲') : '↕'}
        </span>
      </button>
    </ColumnHead>
  );
}

function firstOrder(key: SortKey): Order {
  return CHOICES.find(([, order]) => order.key === key)?.[1] ?? WORST_FIRST;
}
