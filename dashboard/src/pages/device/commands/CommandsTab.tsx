/** Sends commands to a device and shows how far each one is. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { CircleCheck, CircleHelp, CircleSlash, Clock } from "lucide-react";
import { useState } from "react";
import { post } from "../../../api/client";
import { useCommand, useCommandKinds, useCommands, useSession } from "../../../api/queries";
import type { Command, CommandDetail, CommandState, DeviceDetail } from "../../../api/types";
import { Button } from "../../../components/Button";
import { Age } from "../../../components/Figure";
import { Problem, Skeleton } from "../../../components/Problem";
import { CommandForm } from "./CommandForm";
import { commandText, outcomeText, stateText } from "./composing";
import tab from "../Tab.module.css";
import styles from "./Commands.module.css";

export function CommandsTab({ device }: { device: DeviceDetail }) {
  const session = useSession();
  const kinds = useCommandKinds();
  const mayChange = session.data?.role === "owner";
  const inverters = device.inverters.map(({ number }) => number);
  return (
    <div className={tab.tab}>
      <section className={tab.panel} aria-label="Send a command">
        <h2>Send a command</h2>
        {kinds.isError && !kinds.data ? (
          <Problem what="The commands could not be loaded." error={kinds.error} onRetry={() => void kinds.refetch()} />
        ) : !kinds.data ? (
          <Skeleton height={160} />
        ) : mayChange ? (
          <CommandForm device={device.id} kinds={kinds.data.kinds} inverters={inverters} />
        ) : (
          <p className={tab.hint}>Only an owner can send commands. You can view them.</p>
        )}
      </section>
      <CommandHistory device={device.id} zone={device.site.time_zone} mayChange={mayChange} />
    </div>
  );
}

function CommandHistory({ device, zone, mayChange }: { device: string; zone: string; mayChange: boolean }) {
  const list = useCommands(device);
  const commands = list.data?.pages.flatMap((page) => page.commands);
  return (
    <section className={tab.panel} aria-label="Commands">
      <h2>Commands</h2>
      {list.isError && !commands ? (
        <Problem what="The commands could not be loaded." error={list.error} onRetry={() => void list.refetch()} />
      ) : !commands ? (
        <Skeleton height={120} />
      ) : commands.length === 0 ? (
        <p className={tab.hint}>No command was sent yet.</p>
      ) : (
        <ol className={tab.list}>
          {commands.map((command) => (
            <CommandLine key={command.id} command={command} zone={zone} mayChange={mayChange} />
          ))}
        </ol>
      )}
      {list.hasNextPage && (
        <Button disabled={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
          Show older commands
        </Button>
      )}
    </section>
  );
}

function CommandLine({ command, zone, mayChange }: { command: Command; zone: string; mayChange: boolean }) {
  const queries = useQueryClient();
  const [isOpen, setOpen] = useState(false);
  const cancelling = useMutation({
    mutationFn: () => post<CommandDetail>(`/commands/${command.id}/cancel`, {}),
    onSettled: () => queries.invalidateQueries({ queryKey: ["commands", command.device] }),
  });
  return (
    <li className={tab.line} data-command={command.id}>
      <div className={tab.what}>
        <strong>{commandText(command)}</strong>
        <span className={tab.hint}>
          {command.id}, <Age at={command.created} zone={zone} why="" />, {command.by}
        </span>
        {command.registers.length > 0 && <span>Read back: {command.registers.join(", ")}</span>}
      </div>
      <StateMark command={command} />
      <div className={tab.acts}>
        {mayChange && command.state === "queued" && (
          <Button disabled={cancelling.isPending} onClick={() => cancelling.mutate()}>
            Cancel
          </Button>
        )}
        <Button aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          History
        </Button>
      </div>
      {cancelling.error && (
        <p role="alert" className={tab.failure}>
          Not cancelled: {cancelling.error.message}.
        </p>
      )}
      {isOpen && <Transitions command={command} zone={zone} />}
    </li>
  );
}

function Transitions({ command, zone }: { command: Command; zone: string }) {
  const detail = useCommand(command.id, command.since);
  if (detail.isError && !detail.data) {
    return <Problem what="The history could not be loaded." error={detail.error} onRetry={() => void detail.refetch()} />;
  }
  if (!detail.data) return <Skeleton height={60} />;
  return (
    <ol className={styles.steps} aria-label={`History of ${command.id}`}>
      {detail.data.transitions.map((step) => (
        <li key={`${step.state} ${step.at}`}>
          {stateText(step.state)}, <Age at={step.at} zone={zone} why="" />, {step.by}
        </li>
      ))}
    </ol>
  );
}

const ICONS: Record<CommandState, typeof Clock> = {
  queued: Clock,
  sent: Clock,
  accepted: Clock,
  succeeded: CircleCheck,
  failed: CircleSlash,
  expired: CircleSlash,
  cancelled: CircleSlash,
  unknown: CircleHelp,
};

function StateMark({ command }: { command: Command }) {
  const Icon = ICONS[command.state];
  return (
    <span className={styles.state} data-state={command.state}>
      <Icon size={16} aria-hidden />
      {outcomeText(command)}
    </span>
  );
}
