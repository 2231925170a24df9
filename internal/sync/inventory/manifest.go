package inventory

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// manifest is what manifest.json has.
type manifest struct {
	SourceBucket      string     `json:"sourceBucket"`
	DestinationBucket string     `json:"destinationBucket"`
	Version           string     `json:"version"`
	CreationTimestamp string     `json:"creationTimestamp"`
	FileFormat        string     `json:"fileFormat"`
	FileSchema        string     `json:"fileSchema"`
	Files             []dataFile `json:"files"`
}

type dataFile struct {
	Key  string `json:"key"`
	Size int64  `json:"size"`
	MD5  string `json:"MD5checksum"`
}

// Limits of a manifest.
const (
	maxManifest = 64 << 20
	maxFiles    = 100_000
)

// Open reads an inventory. Errors wrap ErrDamaged, ErrUnsupported and ErrOther, and those of files.
func Open(ctx context.Context, files Files, o Options) (l *Listing, err error) {
	m, created, err := readManifest(ctx, files)
	if err != nil {
		return nil, err
	}
	if o.Bucket != "" && m.SourceBucket != o.Bucket {
		return nil, fmt.Errorf("the inventory is %w: %q", ErrOther, m.SourceBucket)
	}
	l = &Listing{Created: created, s: Sorter{Dir: o.Temp}}
	defer func() {
		if err != nil {
			l.Close()
			l = nil
		}
	}()
	for i := range m.Files {
		if err := l.data(ctx, files, m, &m.Files[i], &o); err != nil {
			return l, fmt.Errorf("inventory file %q: %w", m.Files[i].Key, err)
		}
	}
	return l, nil
}

func readManifest(ctx context.Context, files Files) (*manifest, time.Time, error) {
	raw, err := readAll(ctx, files, false, maxManifest)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("manifest of the inventory: %w", err)
	}
	sum, err := readAll(ctx, files, true, 1024)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("checksum of the inventory's manifest: %w", err)
	default:
		if got := md5.Sum(raw); !strings.EqualFold(strings.TrimSpace(string(sum)), hex.EncodeToString(got[:])) {
			return nil, time.Time{}, fmt.Errorf("manifest of the inventory: %w: it is not what manifest.checksum tells", ErrDamaged)
		}
	}
	return parseManifest(raw)
}

func readAll(ctx context.Context, files Files, sum bool, most int64) ([]byte, error) {
	f, err := files.Manifest(ctx, sum)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("%w: more than %d bytes", ErrDamaged, most)
	}
	return raw, err
}

// parseManifest checks all but the files themselves.
func parseManifest(raw []byte) (*manifest, time.Time, error) {
	bad := func(format string, a ...any) (*manifest, time.Time, error) {
		return nil, time.Time{}, fmt.Errorf("manifest of the inventory: "+format, a...)
	}
	m := &manifest{}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(m); err != nil {
		return bad("%w: %w", ErrDamaged, err)
	}
	ms, err := strconv.ParseInt(m.CreationTimestamp, 10, 64)
	switch {
	case m.SourceBucket == "" || m.FileFormat == "":
		return bad("%w: no sourceBucket or fileFormat: is it a manifest.json of S3 Inventory?", ErrDamaged)
	case err != nil || ms <= 0 || ms > 1e14:
		return bad("%w: creationTimestamp %q", ErrDamaged, m.CreationTimestamp)
	case strings.EqualFold(m.FileFormat, "ORC"):
		return bad("%w: its files are ORC; CSV and Parquet can be read", ErrUnsupported)
	case !strings.EqualFold(m.FileFormat, "CSV") && !strings.EqualFold(m.FileFormat, "Parquet"):
		return bad("%w: its files are %q; CSV and Parquet can be read", ErrUnsupported, m.FileFormat)
	case len(m.Files) > maxFiles:
		return bad("%w: %d files, and %d are the most", ErrDamaged, len(m.Files), maxFiles)
	}
	for _, f := range m.Files {
		if f.Key == "" || f.Size < 0 {
			return bad("%w: file %q of %d bytes", ErrDamaged, f.Key, f.Size)
		}
		if sum, err := hex.DecodeString(f.MD5); err != nil || len(sum) != md5.Size {
			return bad("%w: file %q has no MD5 sum", ErrDamaged, f.Key)
		}
	}
	return m, time.UnixMilli(ms), nil
}

// data takes in one file: it is copied and its sum verified before any of it is read.
func (l *Listing) data(ctx context.Context, files Files, m *manifest, d *dataFile, o *Options) error {
	in, err := files.Data(ctx, strings.TrimPrefix(m.DestinationBucket, "arn:aws:s3:::"), d.Key)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	f, err := os.CreateTemp(o.Temp, "firn-inventory-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	h := md5.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(in, d.Size+1))
	switch {
	case err != nil:
		return err
	case n != d.Size:
		return fmt.Errorf("%w: it has not the %d bytes that the manifest tells", ErrDamaged, d.Size)
	case !strings.EqualFold(hex.EncodeToString(h.Sum(nil)), d.MD5):
		return fmt.Errorf("%w: it has not the MD5 sum that the manifest tells", ErrDamaged)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if strings.EqualFold(m.FileFormat, "Parquet") {
		return l.parquet(ctx, f, d.Size, o)
	}
	return l.csv(ctx, f, d.Size, m.FileSchema, o)
}
