package cli

import (
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/keys"
	"firn/internal/policy"
	"firn/internal/wire"
)

// policyCommand prints the rights that somebody needs.
type policyCommand struct {
	c       *console
	repo    string
	o       policy.Options
	class   string
	hostKey string
}

func newPolicy(c *console) *cobra.Command {
	x := &policyCommand{c: c}
	var roles []string
	var about strings.Builder
	for _, r := range policy.Roles() {
		roles = append(roles, string(r))
		about.WriteString(sprintf("  %-11s %s\n", r, r.About()))
	}
	cmd := &cobra.Command{
		Use:   "policy ROLE",
		Short: "Print the least rights that a host or a person needs in S3",
		Long: `Prints a policy document for IAM that allows what a role needs, and nothing else. Nothing is asked of the store. The roles:

` + about.String() + `
A write-only host may create objects, and replace none: Amazon's condition s3:if-none-match sees to that. A server that does not know
the condition refuses everything then. firn policy bucket prints what the bucket itself should be set to.

The class of file content decides whether a role may thaw; --scope or --host-key limit a document to what one host shares.`,
		Example: `  firn policy write-only --repo s3://bucket/nas > web.json
  firn policy write-only --repo s3://bucket/nas --host-key web.key
  firn policy prune --repo s3://bucket/nas --versions --lock
  aws iam put-user-policy --user-name web --policy-name firn --policy-document file://web.json`,
		ValidArgs: roles,
		Args:      argsBetween(1, 1, "one role: "+strings.Join(roles, ", ")+"; or firn policy bucket"),
		RunE:      func(_ *cobra.Command, args []string) error { return x.run(policy.Role(args[0])) },
	}
	fl := cmd.Flags()
	registerPolicyRepo(cmd, &x.repo, &x.o.Partition)
	fl.StringArrayVar(&x.o.Scopes, "scope", nil, "id of the scope to which write-only or prune is limited (repeat for more; default: all)")
	fl.StringVar(&x.hostKey, "host-key", "", "key of a host, to whose scope write-only or prune is limited")
	fl.StringVar(&x.class, "class", "DEEP_ARCHIVE", "storage class of file content; in a cold one those who read may thaw, too")
	fl.BoolVar(&x.o.Versions, "versions", false, "the bucket keeps versions, and who deletes may delete those as well")
	fl.BoolVar(&x.o.Lock, "lock", false, "the bucket has Object Lock: prune and admin may extend locks")
	fl.BoolVar(&x.o.Transition, "transition", false, "prune may move packs into their cold class (firn transition)")
	fl.BoolVar(&x.o.Probe, "probe", false, "objects below probe/ may be stored and deleted, so that firn doctor and firn init can find out what the server does")
	complete(cmd, "class", classNames...)
	cmd.AddCommand(newPolicyBucket(c))
	return cmd
}

// registerPolicyRepo adds the flags that say what documents are about.
func registerPolicyRepo(cmd *cobra.Command, repo, partition *string) {
	cmd.Flags().StringVarP(repo, "repo", "r", "", "repository, or what is mirrored to: s3://bucket/prefix (FIRN_REPO)")
	cmd.Flags().StringVar(partition, "partition", "aws", "part of Amazon's cloud, as ARNs name it")
	complete(cmd, "partition", "aws", "aws-cn", "aws-us-gov")
}

// policyPlace finds bucket and prefix.
func policyPlace(repo string) (bucket, prefix string, err error) {
	location, err := (&storeFlags{repo: repo}).location()
	if err != nil {
		return "", "", err
	}
	l, err := wire.ParseLocation(location)
	if err != nil {
		return "", "", &advice.Error{Err: err, Code: advice.Usage}
	}
	if l.Scheme != "s3" {
		return "", "", usage("rights to a folder are its owner and mode", "%q is no bucket", location)
	}
	return l.Bucket, l.Prefix, nil
}

func (x *policyCommand) run(role policy.Role) (err error) {
	x.o.Role = role
	if x.o.Bucket, x.o.Prefix, err = policyPlace(x.repo); err != nil {
		return err
	}
	x.o.Cold = coldIn(nil)(x.class)
	if x.hostKey != "" {
		if err := x.limit(); err != nil {
			return err
		}
	}
	d, err := policy.IAM(x.o)
	if err != nil {
		return badPolicy(err)
	}
	if x.c.json != "" {
		return x.c.object(map[string]any{"event": "policy", "role": role, "bucket": x.o.Bucket, "prefix": x.o.Prefix, "document": d})
	}
	x.c.print("%s", d.JSON())
	return nil
}

// limit takes the scope out of a host's key.
func (x *policyCommand) limit() error {
	raw, err := os.ReadFile(x.hostKey)
	if err != nil {
		return err
	}
	defer keys.Wipe(raw)
	key, err := keys.ParseHostKey(raw)
	if err != nil {
		return &advice.Error{Text: sprintf("host key %q: %v", x.hostKey, err), Err: err, Code: advice.Usage}
	}
	x.o.Scopes, x.o.Hosts = append(x.o.Scopes, key.ScopeID.String()), append(x.o.Hosts, key.Host.String())
	key.Wipe()
	return nil
}

// badPolicy makes an error of usage of options that fit nothing.
func badPolicy(err error) error {
	var bad *policy.Error
	if !errors.As(err, &bad) {
		return err
	}
	e := &advice.Error{Err: err, Code: advice.Usage}
	if bad.What == "role" {
		var names []string
		for _, r := range policy.Roles() {
			names = append(names, string(r))
		}
		e.Hint = "there are " + strings.Join(names, ", ") + ", and firn policy bucket"
	}
	return e
}

// policyBucket prints what a bucket should be set to.
type policyBucket struct {
	c     *console
	repo  string
	rules string
	o     policy.BucketOptions
}

func newPolicyBucket(c *console) *cobra.Command {
	x := &policyBucket{c: c}
	cmd := &cobra.Command{
		Use:   "bucket",
		Short: "Print commands that set a bucket up for backups",
		Long: `Prints commands of the AWS program that set a bucket up: nobody from outside, versions kept for a while, uploads that were cut off
given up after a while, nothing without TLS, and locks where they are wanted. firn itself changes nothing.

Rules and policy replace those that the bucket has. Give its rules with --rules, and they stay among ours. --create-only forbids all to
replace an object; firn transition cannot move packs then.`,
		Example: `  firn policy bucket --repo s3://bucket/nas | sh
  firn policy bucket --repo s3://bucket/nas --lock-days 30 --keep-days 90
  aws s3api get-bucket-lifecycle-configuration --bucket B > now.json && firn policy bucket --repo s3://B/nas --rules now.json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return x.run() },
	}
	fl := cmd.Flags()
	registerPolicyRepo(cmd, &x.repo, &x.o.Partition)
	fl.StringVar(&x.rules, "rules", "", "file with the rules that the bucket has, as aws s3api get-bucket-lifecycle-configuration prints them")
	fl.IntVar(&x.o.AbortDays, "abort-days", 14, "days after which an upload that was not completed is given up")
	fl.IntVar(&x.o.KeepDays, "keep-days", 30, "days for which versions are kept that were deleted or replaced")
	fl.IntVar(&x.o.LockDays, "lock-days", 0, "days for which new objects are locked by themselves (0: not at all)")
	fl.StringVar(&x.o.LockMode, "lock-mode", "GOVERNANCE", "GOVERNANCE, which some may lift, or COMPLIANCE, which nobody may")
	fl.BoolVar(&x.o.CreateOnly, "create-only", false, "forbid everybody to replace objects")
	complete(cmd, "lock-mode", "GOVERNANCE", "COMPLIANCE")
	_ = cmd.MarkFlagFilename("rules", "json")
	return cmd
}

func (x *policyBucket) run() (err error) {
	if x.o.Bucket, x.o.Prefix, err = policyPlace(x.repo); err != nil {
		return err
	}
	if x.rules != "" {
		if x.o.Rules, err = os.ReadFile(x.rules); err != nil {
			return err
		}
	}
	settings, err := policy.Bucket(x.o)
	if err != nil {
		return badPolicy(err)
	}
	for _, s := range settings {
		args := append([]string{"aws"}, s.Args(x.o.Bucket)...)
		if x.c.json != "" {
			err := x.c.object(map[string]any{"event": "setting", "name": s.Name, "why": s.Why, "document": json.RawMessage(s.JSON()), "command": args})
			if err != nil {
				return err
			}
			continue
		}
		for i, a := range args {
			args[i] = shellWord(a)
		}
		x.c.print("# %s: %s\n%s\n", s.Name, s.Why, strings.Join(args, " "))
	}
	if x.rules == "" {
		x.c.note("rules and policy replace those that the bucket has; --rules keeps the rules of others")
	}
	return nil
}

// shellWord quotes an argument for a POSIX shell where it needs that.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@%+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
