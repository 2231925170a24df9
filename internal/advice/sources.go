package advice

import (
	"slices"
	"strings"

	"firn/internal/backup"
	"firn/internal/program"
	"firn/internal/source"
	"firn/internal/source/btrfs"
	"firn/internal/source/command"
	"firn/internal/source/zfs"
	"firn/internal/wire"
)

// sourceRules are about sources that make streams, and the programs behind them.
func sourceRules() []rule {
	return []rule{
		as(func(e *wire.KindError) string {
			if e.Nearest == "" {
				return "firn source kinds lists them"
			}
			return "was " + e.Nearest + " meant? firn source kinds lists them"
		}),
		as(func(e *source.SettingError) string {
			switch {
			case e.Nearest != "":
				return "was " + e.Nearest + " meant? firn source kinds lists the settings"
			case e.Reason == "":
				return "firn source kinds lists the settings"
			}
			return ""
		}),
		say[*source.ProgramError]("install the program, or check PATH, which is short under cron and systemd"),
		say[*program.SpaceError]("make room there, choose another folder with -o temp_dir=FOLDER, or do without use_temp_file"),
		say[*program.TempError]("choose another folder with -o temp_dir=FOLDER"),
		is(source.ErrOnce, "run the whole command again; with --command instead of --stdin firn can run the program twice by itself"),
		say[*command.NameError]("such as --name db.sql or --name dumps/db.sql"),
		is(command.ErrNoCommand, "such as: firn backup --name db.sql -- pg_dump mydb"),
		is(backup.ErrChained, "back it up once with --full, then its history can go on elsewhere"),
		say[*backup.ShrinkError]("is it mounted? The last snapshot stays the latest; firn backup --max-shrink 100% takes it as it is"),
		say[*backup.BaseError]("with --full everything is stored anew, depending on nothing older"),
		say[*zfs.TakenError]("take another pattern with -o pattern=PATTERN, or store that snapshot with -o snapshot=NAME"),
		say[*zfs.DeniedError]("run firn as root, or let its user: zfs allow USER send,snapshot,hold,release,destroy,mount,bookmark,userprop,receive,create DATASET"),
		say[*zfs.PoolError]("zpool status says what is wrong with it"),
		say[*zfs.NameError]("zfs list shows what there is"),
		say[*btrfs.TakenError]("take another pattern with -o pattern=PATTERN, or another folder with -o snapshots=FOLDER"),
		say[*btrfs.DeniedError]("sending and receiving btrfs needs root"),
		say[*source.MissingError]("check its name, and that the system which has it is up"),
		as(func(e *program.HookError) string {
			if e.When == "before" {
				return "nothing was backed up, as what runs before a backup has to succeed; run it by hand to see why it fails"
			}
			return "run it by hand to see why it fails"
		}),
		as(producer),
	}
}

// producer is about programs that failed. What they say they say in English: firn runs them in the locale C.
func producer(e *source.ProducerError) string {
	says := func(texts ...string) bool {
		return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(e.Stderr, t) })
	}
	switch {
	case says("no password supplied", "password authentication failed", "Access denied for user"):
		return "firn never asks for a password: the program has to find it by itself, such as in ~/.pgpass or ~/.my.cnf of the user that firn runs as"
	case says("connection to server", "Can't connect to"):
		return "see that the server is up, and that it is looked for where it is: -o host=…, -o port=… and, for MySQL, -o socket=…"
	}
	return "half of a stream is none; run the program by hand to see why it fails"
}
