/** The bar at the top: pages, live state, theme and session. */
import { useQueryClient } from "@tanstack/react-query";
import { KeyRound, LogOut, Monitor, Moon, SlidersHorizontal, Sun, Keyboard } from "lucide-react";
import { useEffect, useState } from "react";
import { signOut } from "../api/session";
import type { Session } from "../api/types";
import { navigate, usePlace } from "../lib/route";
import { SHORTCUTS } from "../lib/shortcuts";
import { setTheme, useTheme, type Theme } from "../lib/theme";
import { Dialog } from "./Dialog";
import { Link } from "./Link";
import { LiveDot } from "./LiveDot";
import { Logo } from "./Logo";
import styles from "./Header.module.css";

const THEMES: Record<Theme, { next: Theme; icon: typeof Sun; label: string }> = {
  system: { next: "light", icon: Monitor, label: "Theme: system" },
  light: { next: "dark", icon: Sun, label: "Theme: light" },
  dark: { next: "system", icon: Moon, label: "Theme: dark" },
};

export function ThemeSwitch() {
  const theme = useTheme();
  const { next, icon: Icon, label } = THEMES[theme];
  return (
    <button
      type="button"
      className={styles.icon}
      title={`${label}. Click for ${next}.`}
      aria-label={`${label}. Switch to ${next}.`}
      onClick={() => setTheme(next)}
    >
      <Icon size={18} aria-hidden />
    </button>
  );
}

function Keys() {
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    const show = () => setOpen(true);
    window.addEventListener("ecowatt-help", show);
    return () => window.removeEventListener("ecowatt-help", show);
  }, []);
  return (
    <>
      <button
        type="button"
        className={`${styles.icon} ${styles.wideOnly}`}
        title="Keyboard shortcuts"
        aria-label="Keyboard shortcuts"
        onClick={() => setOpen(true)}
      >
        <Keyboard size={18} aria-hidden />
      </button>
      <Dialog title="Keyboard" isOpen={isOpen} onClose={() => setOpen(false)}>
        <dl className={styles.keys}>
          {SHORTCUTS.map(({ keys, does }) => (
            <div key={does}>
              <dt>
                {keys.map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </dt>
              <dd>{does}</dd>
            </div>
          ))}
        </dl>
      </Dialog>
    </>
  );
}

export function Header({ session }: { session: Session | undefined }) {
  const { path } = usePlace();
  const isOwner = session?.role === "owner";
  const [isRefused, setRefused] = useState(false);
  const queries = useQueryClient();
  const leave = () => signOut(queries, () => navigate("/login")).catch(() => setRefused(true));
  return (
    <header className={styles.bar}>
      <div className={styles.inside}>
        <Link to="/" className={styles.brand} aria-label="EcoWatt, fleet">
          <Logo />
          <span>EcoWatt</span>
        </Link>
        <nav aria-label="Pages" className={styles.nav}>
          <Link to="/" aria-current={path === "/" ? "page" : undefined}>
            Fleet
          </Link>
          <Link to="/templates" aria-current={path.startsWith("/templates") ? "page" : undefined}>
            Templates
          </Link>
          {isOwner && (
            <Link to="/access" aria-current={path === "/access" ? "page" : undefined}>
              Access
            </Link>
          )}
        </nav>
        <div className={styles.right}>
          <LiveDot />
          <Keys />
          <Link to="/templates" className={`${styles.icon} ${styles.narrowOnly}`} aria-label="Templates" title="Templates">
            <SlidersHorizontal size={18} aria-hidden />
          </Link>
          {isOwner && (
            <Link to="/access" className={`${styles.icon} ${styles.narrowOnly}`} aria-label="Access" title="Access">
              <KeyRound size={18} aria-hidden />
            </Link>
          )}
          <ThemeSwitch />
          {isRefused && (
            <span role="alert" className={styles.refused}>
              Sign-out failed
            </span>
          )}
          {session && (
            <button
              type="button"
              className={styles.icon}
              title={`Signed in with the token “${session.token_name}” (${session.role}). Click to sign out.`}
              aria-label="Sign out"
              onClick={() => void leave()}
            >
              <LogOut size={18} aria-hidden />
            </button>
          )}
        </div>
      </div>
    </header>
  );
}
