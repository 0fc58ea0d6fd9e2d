/** Buttons, and a row of buttons with one selected. */
import type { ButtonHTMLAttributes } from "react";
import styles from "./Button.module.css";

type Props = ButtonHTMLAttributes<HTMLButtonElement> & { look?: "plain" | "main" | "bare" | "danger" };

export function Button({ look = "plain", className, ...rest }: Props) {
  return <button type="button" {...rest} className={`${styles.button} ${styles[look]} ${className ?? ""}`} />;
}

interface Choice<T extends string> {
  value: T;
  label: string;
  title?: string;
}

interface ChoiceProps<T extends string> {
  label: string;
  choices: Choice<T>[];
  chosen: T | null;
  onChoose: (value: T) => void;
}

export function Choices<T extends string>({ label, choices, chosen, onChoose }: ChoiceProps<T>) {
  return (
    <div className={styles.choices} role="group" aria-label={label}>
      {choices.map(({ value, label: text, title }) => (
        <button
          key={value}
          type="button"
          title={title}
          aria-pressed={value === chosen}
          onClick={() => onChoose(value)}
        >
          {text}
        </button>
      ))}
    </div>
  );
}
