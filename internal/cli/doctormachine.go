package cli

import (
	"context"

	"firn/internal/advice"
	"firn/internal/doctor"
	"firn/internal/job"
	"firn/internal/timer"
)

// machine tells what this machine is to do by itself.
func (x *doctorCommand) machine(ctx context.Context) *doctor.Machine {
	cfg, err := x.c.config.load()
	if x.c.config.asked() == noConfig {
		return nil
	}
	m := &doctor.Machine{Config: cfg, Broken: err, File: x.c.config.path}
	if m.Program, err = thisProgram(); err != nil {
		x.c.explain("%v", err)
	}
	schedule := &scheduleCommand{c: x.c, system: timer.Here(), name: "firn"}
	if m.Entries, err = schedule.entries(ctx); err != nil {
		x.c.explain("what schedulers were told is not known: %v", err)
	}
	if cfg == nil {
		return m
	}
	r, err := x.c.runner(cfg, nil)
	if err != nil {
		return m
	}
	for _, s := range r.Status(r.Jobs(), 0) {
		if s.Job.Off || s.Job.Timing.Schedule.IsZero() && s.Job.Cycle.Kind == "" {
			continue
		}
		j := doctor.Job{Name: s.Job.Name, Stale: s.StaleTime, Failing: s.State == job.Failing}
		if s.Success != nil {
			j.Last = s.Success.End
		}
		m.Jobs = append(m.Jobs, j)
	}
	return m
}

// remedyHere says what to do about what was found on this machine.
func remedyHere(f doctor.Finding) (do []string) {
	if f.Fix.Close != "" {
		right := "chmod go-w "
		if f.Check == doctor.CheckSecrets || f.Check == doctor.CheckHostKey {
			right = "chmod 600 "
		}
		do = append(do, right+advice.ShellWord(f.Fix.Close))
	}
	if f.Fix.Exec != "" {
		do = append(do, "chmod u+x "+advice.ShellWord(f.Fix.Exec))
	}
	if f.Fix.Start {
		do = append(do, "firn schedule install")
	}
	if f.Fix.Drop {
		do = append(do, "firn schedule show lists them, and firn schedule remove --kind takes one away")
	}
	if f.Fix.Tell {
		do = append(do, "add a [notify.NAME] to the configuration, such as mail or healthchecks; firn notify test tries it")
	}
	if f.Fix.Run != "" && f.Severity > doctor.Note {
		do = append(do, "firn status shows more; firn run "+advice.ShellWord(f.Fix.Run)+" tries it")
	}
	if f.Check == doctor.CheckConfig && f.Fix.Close == "" && f.Severity == doctor.Problem {
		do = append(do, "firn config check tells all that is wrong")
	}
	if f.Check == doctor.CheckHostKey && f.Severity == doctor.Problem && f.Fix.Why == nil && f.Fix.Close == "" {
		do = append(do, "firn keys hosts says when and why; firn keys write-only makes a new key")
	}
	return do
}
