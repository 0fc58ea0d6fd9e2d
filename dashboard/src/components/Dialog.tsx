/** A window over the page. The browser keeps the focus in it and closes it on Escape. */
import { X } from "lucide-react";
import { useEffect, useId, useRef, type ReactNode } from "react";
import styles from "./Dialog.module.css";

interface Props {
  title: string;
  isOpen: boolean;
  onClose: () => void;
  children: ReactNode;
}

export function Dialog({ title, isOpen, onClose, children }: Props) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    if (!dialog) return;
    if (isOpen && !dialog.open) dialog.showModal();
    if (!isOpen && dialog.open) dialog.close();
  }, [isOpen]);
  return (
    <dialog ref={ref} className={styles.dialog} aria-labelledby={id} onClose={onClose}>
      {isOpen && (
        <>
          <div className={styles.head}>
            <h2 id={id}>{title}</h2>
            <button type="button" aria-label="Close" className={styles.close} onClick={onClose}>
              <X size={18} aria-hidden />
            </button>
          </div>
          {children}
        </>
      )}
    </dialog>
  );
}
