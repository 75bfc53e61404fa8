import type { AlarmFilter, AlarmKind } from '../api/types.js';

interface Props {
  readonly filter: AlarmFilter;
  readonly onChange: (filter: AlarmFilter) => void;
}

/** Which alarms are listed. */
export function AlarmFilters({ filter, onChange }: Props) {
  return (
    <div class="toolbar">
      <label class="field grow">
        Patient
        <input
          type="search"
          placeholder="Pseudonym"
          value={filter.patient ?? ''}
          onInput={({ currentTarget: { value } }) => {
            onChange({ ...filter, patient: value.trim() === '' ? undefined : value.trim() });
          }}
        />
      </label>
      <Choice
        label="Acknowledged"
        value={name(filter.acknowledged)}
        choices={[
          ['', 'all'],
          ['false', 'not yet'],
          ['true', 'yes'],
        ]}
        onChange={(value) => {
          onChange({ ...filter, acknowledged: truth(value) });
        }}
      />
      <Choice
        label="State"
        value={name(filter.active)}
        choices={[
          ['', 'all'],
          ['true', 'active'],
          ['false', 'cleared'],
        ]}
        onChange={(value) => {
          onChange({ ...filter, active: truth(value) });
        }}
      />
      <Choice
        label="Kind"
        value={filter.kind ?? ''}
        choices={[
          ['', 'all'],
          ['level', 'level'],
          ['gap', 'gap'],
          ['silence', 'silent device'],
        ]}
        onChange={(value) => {
          onChange({ ...filter, kind: value === '' ? undefined : (value as AlarmKind) });
        }}
      />
    </div>
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly value: string;
  readonly choices: readonly (readonly [value: string, label: string])[];
  readonly onChange: (value: string) => void;
}

function Choice({ label, value, choices, onChange }: ChoiceProps) {
  return (
    <label class="field">
      {label}
      <select
        value={value}
        onChange={({ currentTarget }) => {
          onChange(currentTarget.value);
        }}
      >
        {choices.map(([one, text]) => (
          <option key={one} value={one}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

function name(value: boolean | undefined): string {
  return value === undefined ? '' : String(value);
}

function truth(value: string): boolean | undefined {
  return value === '' ? undefined : value === 'true';
}
