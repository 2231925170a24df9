package frozen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// standIn is as much of the AWS program as RECOVER.md and recover.py make use of. What it does not know it refuses.
type standIn struct {
	ctx    context.Context
	client *api.Client
	words  []string          // arguments that are no options
	flags  map[string]string // options
}

func standInForAWS(args []string) error {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	p := &standIn{ctx: ctx, flags: map[string]string{}, client: api.NewFromConfig(cfg, func(o *api.Options) { o.UsePathStyle = true })}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "--force-glacier-transfer", word == "--no-confirmation-required":
			p.flags[word] = "yes"
		case strings.HasPrefix(word, "--") && len(args) > 0:
			p.flags[word], args = args[0], args[1:]
		default:
			p.words = append(p.words, word)
		}
	}
	run, ok := map[string]func() error{"s3 sync": p.sync, "s3 cp": p.copy, "s3api restore-object": p.restore, "s3api head-object": p.head,
		"s3api list-objects-v2": p.list, "s3control create-job": p.batch}[strings.Join(p.words[:min(2, len(p.words))], " ")]
	if !ok {
		return fmt.Errorf("arguments %q", os.Args)
	}
	return run()
}

// known refuses options other than these.
func (p *standIn) known(words int, options string) error {
	for name := range p.flags {
		if !strings.Contains(" "+options+" ", " "+name+" ") {
			return fmt.Errorf("unknown option %q", name)
		}
	}
	if len(p.words) != 2+words {
		return fmt.Errorf("arguments %q", p.words)
	}
	return nil
}

// location takes s3://bucket/key apart.
func location(text string) (bucket, key string, ok bool) {
	rest, ok := strings.CutPrefix(text, "s3://")
	bucket, key, _ = strings.Cut(rest, "/")
	return bucket, key, ok && bucket != ""
}

func (p *standIn) each(bucket, prefix string, fn func(types.Object) error) error {
	pages := api.NewListObjectsV2Paginator(p.client, &api.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(p.ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			if err := fn(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// sync copies what is not there; objects in a cold class it leaves out unless it is told to try.
func (p *standIn) sync() error {
	if err := p.known(2, "--exclude --force-glacier-transfer"); err != nil {
		return err
	}
	bucket, prefix, ok := location(p.words[2])
	if !ok || prefix != "" && !strings.HasSuffix(prefix, "/") {
		return fmt.Errorf("location %q", p.words[2])
	}
	var skipped error
	err := p.each(bucket, prefix, func(o types.Object) error {
		name := strings.TrimPrefix(*o.Key, prefix)
		if head, ok := strings.CutSuffix(p.flags["--exclude"], "*"); ok && strings.HasPrefix(name, head) {
			return nil
		}
		file := filepath.Join(p.words[3], name)
		if info, err := os.Stat(file); err == nil && info.Size() == *o.Size {
			return nil
		}
		if o.StorageClass == types.ObjectStorageClassGlacier && p.flags["--force-glacier-transfer"] == "" {
			skipped = fmt.Errorf("warning: skipping %q, object is of storage class GLACIER", *o.Key)
			return nil
		}
		return p.fetch(bucket, *o.Key, file)
	})
	return errors.Join(err, skipped)
}

func (p *standIn) fetch(bucket, key, file string) error {
	out, err := p.client.GetObject(p.ctx, &api.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	raw, err := io.ReadAll(out.Body)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o644)
}

func (p *standIn) copy() error {
	if err := p.known(2, "--force-glacier-transfer"); err != nil {
		return err
	}
	if bucket, key, ok := location(p.words[2]); ok {
		return p.fetch(bucket, key, p.words[3])
	}
	bucket, key, _ := location(p.words[3])
	raw, err := os.ReadFile(p.words[2])
	if err != nil {
		return err
	}
	_, err = p.client.PutObject(p.ctx, &api.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(raw)})
	return err
}

func (p *standIn) restore() error {
	if err := p.known(0, "--bucket --key --restore-request"); err != nil {
		return err
	}
	r := &types.RestoreRequest{}
	var tier string
	if n, _ := fmt.Sscanf(p.flags["--restore-request"], "Days=%d,GlacierJobParameters={Tier=%s", new(int32), &tier); n == 2 {
		r.GlacierJobParameters = &types.GlacierJobParameters{Tier: types.Tier(strings.TrimSuffix(tier, "}"))}
	}
	var days int32
	if n, _ := fmt.Sscanf(p.flags["--restore-request"], "Days=%d", &days); n != 1 {
		return fmt.Errorf("request %q", p.flags["--restore-request"])
	}
	r.Days = &days
	_, err := p.client.RestoreObject(p.ctx, &api.RestoreObjectInput{Bucket: aws.String(p.flags["--bucket"]), Key: aws.String(p.flags["--key"]), RestoreRequest: r})
	return err
}

func (p *standIn) head() error {
	if err := p.known(0, "--bucket --key --query --output"); err != nil {
		return err
	}
	out, err := p.client.HeadObject(p.ctx, &api.HeadObjectInput{Bucket: aws.String(p.flags["--bucket"]), Key: aws.String(p.flags["--key"])})
	if err != nil {
		return err
	}
	switch p.flags["--query"] + p.flags["--output"] {
	case "ETagtext":
		fmt.Println(*out.ETag)
	case "[StorageClass,Restore]text":
		fmt.Printf("%s\t%s\n", out.StorageClass, aws.ToString(out.Restore))
	default:
		return fmt.Errorf("query %q", p.flags["--query"])
	}
	return nil
}

func (p *standIn) list() error {
	if err := p.known(0, "--bucket --prefix --query --output"); err != nil {
		return err
	}
	cold := p.flags["--query"] == "Contents[?StorageClass!='STANDARD'].[Key]"
	if !cold && p.flags["--query"] != "Contents[].[Key]" || p.flags["--output"] != "text" {
		return fmt.Errorf("query %q", p.flags["--query"])
	}
	return p.each(p.flags["--bucket"], p.flags["--prefix"], func(o types.Object) error {
		if !cold || o.StorageClass != types.ObjectStorageClassStandard {
			fmt.Println(*o.Key)
		}
		return nil
	})
}

// batch does what a job of S3 Batch Operations would.
func (p *standIn) batch() error {
	if err := p.known(0, "--account-id --role-arn --priority --operation --report --manifest --no-confirmation-required"); err != nil {
		return err
	}
	var operation struct {
		S3InitiateRestoreObject struct {
			ExpirationInDays int32
			GlacierJobTier   string
		}
	}
	var manifest struct {
		Spec struct {
			Format string
			Fields []string
		}
		Location struct{ ObjectArn, ETag string }
	}
	err := errors.Join(json.Unmarshal([]byte(p.flags["--operation"]), &operation), json.Unmarshal([]byte(p.flags["--manifest"]), &manifest), json.Unmarshal([]byte(p.flags["--report"]), &struct{ Enabled bool }{}))
	arn, ok := strings.CutPrefix(manifest.Location.ObjectArn, "arn:aws:s3:::")
	if err != nil || !ok || manifest.Spec.Format != "S3BatchOperations_CSV_20180820" || strings.Join(manifest.Spec.Fields, ",") != "Bucket,Key" || operation.S3InitiateRestoreObject.GlacierJobTier != "BULK" {
		return fmt.Errorf("job %q: %w", p.flags, err)
	}
	bucket, key, _ := strings.Cut(arn, "/")
	out, err := p.client.GetObject(p.ctx, &api.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if tag := strings.Trim(*out.ETag, `"`); tag != manifest.Location.ETag {
		return fmt.Errorf("the manifest has ETag %q", tag)
	}
	raw, err := io.ReadAll(out.Body)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(raw)) {
		bucket, key, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ",")
		r := &types.RestoreRequest{Days: &operation.S3InitiateRestoreObject.ExpirationInDays, GlacierJobParameters: &types.GlacierJobParameters{Tier: types.TierBulk}}
		if _, err := p.client.RestoreObject(p.ctx, &api.RestoreObjectInput{Bucket: &bucket, Key: &key, RestoreRequest: r}); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}
