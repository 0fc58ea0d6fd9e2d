/** Catches errors of a page, so that the rest of the dashboard works, and offers what to do. */
import { Component, type ReactNode } from "react";
import { Link } from "./Link";
import { Problem } from "./Problem";
import styles from "./Boundary.module.css";

interface Props {
  children: ReactNode;
}

export class Boundary extends Component<Props, { error: unknown }> {
  override state = { error: null as unknown };

  static getDerivedStateFromError(error: unknown) {
    return { error: error ?? new Error("the reason is not known") };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <div className={styles.broken}>
        <Problem
          what="This page could not be shown."
          error={this.state.error}
          onRetry={() => this.setState({ error: null })}
        />
        <Link to="/">Go to the fleet</Link>
      </div>
    );
  }
}
