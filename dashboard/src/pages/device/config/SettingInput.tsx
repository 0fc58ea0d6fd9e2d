/** The field for a setting's value. */
import type { Setting } from "../../../api/types";

interface Props {
  /** Its hint has the same one with `-hint`. */
  id: string;
  setting: Setting;
  text: string;
  /** Shown where there is no value. */
  absent: string;
  onEdit: (text: string) => void;
}

export function SettingInput({ id, setting, text, absent, onEdit }: Props) {
  if (setting.kind === "one_of") {
    return (
      <select id={id} aria-describedby={`${id}-hint`} value={text} onChange={(event) => onEdit(event.target.value)}>
        <option value="">{absent}</option>
        {setting.choices.map((choice) => (
          <option key={choice}>{choice}</option>
        ))}
      </select>
    );
  }
  return (
    <input
      id={id}
      aria-describedby={`${id}-hint`}
      value={text}
      placeholder={absent}
      autoComplete="off"
      spellCheck={false}
      onChange={(event) => onEdit(event.target.value)}
    />
  );
}
