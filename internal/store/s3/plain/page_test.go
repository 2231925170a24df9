package plain

import (
	"encoding/xml"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"firn/internal/bucket"
)

// slowly reads a page by encoding/xml, as the SDK does.
func slowly(b []byte) (objects []bucket.Object, next string, ok bool) {
	var in struct {
		XMLName      xml.Name `xml:"ListBucketResult"`
		EncodingType string
		IsTruncated  string
		Next         string `xml:"NextContinuationToken"`
		Contents     []struct {
			Key, ETag, LastModified, StorageClass string
			Size                                  int64
			RestoreStatus                         *struct{ IsRestoreInProgress, RestoreExpiryDate string }
		}
	}
	if err := xml.Unmarshal(b, &in); err != nil {
		return nil, "", false
	}
	for _, c := range in.Contents {
		t, err := time.Parse(time.RFC3339Nano, c.LastModified)
		if err != nil {
			return nil, "", false
		}
		if in.EncodingType == "url" {
			c.Key = decodeKey(c.Key)
		}
		o := bucket.Object{Key: c.Key, Size: c.Size, ETag: tag(&c.ETag), Modified: t.UTC(), Class: class(c.StorageClass)}
		if r := c.RestoreStatus; r != nil {
			o.Thawed = r.IsRestoreInProgress != "true" && r.RestoreExpiryDate != ""
		}
		objects = append(objects, o)
	}
	if in.IsTruncated == "true" {
		next = in.Next
	}
	return objects, next, true
}

const head = `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>`

func object(key, more string) string {
	return `<Contents><Key>` + key + `</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&quot;abc-2&quot;</ETag><Size>42</Size>` + more + `</Contents>`
}

var pageSeeds = []string{
	head + `<IsTruncated>false</IsTruncated></ListBucketResult>`,
	head + `<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>1&amp;2</NextContinuationToken>` + object("a%20b+c%2B", "<StorageClass>GLACIER</StorageClass>") + `</ListBucketResult>`,
	head + object("a%20b", "") + `<EncodingType>url</EncodingType></ListBucketResult>`,
	head + object("a&lt;b&#x41;&#66;", "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2026-02-02T00:00:00Z</RestoreExpiryDate></RestoreStatus>") + `</ListBucketResult>`,
	head + object("a", "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus><Owner><ID>x</ID><DisplayName>Key</DisplayName></Owner>") + `</ListBucketResult>`,
	head + object("a", "<Owner/><StorageClass>STANDARD</StorageClass>") + `<CommonPrefixes><Prefix>x</Prefix></CommonPrefixes></ListBucketResult>`,
	strings.ReplaceAll(head+object("a", "")+`</ListBucketResult>`, "><", ">\n  <"),
	head + object("<![CDATA[a]]>", "") + `</ListBucketResult>`,
	head + `<!-- comment -->` + object("a", "") + `</ListBucketResult>`,
	head + `<Contents><Key>a<b/>c</Key></Contents></ListBucketResult>`, head + `<Contents></Key></Contents></ListBucketResult>`, `<ListBucketResult></></ListBucketResult>`,
	`<s3:ListBucketResult><s3:Contents></s3:Contents></s3:ListBucketResult>`,
	`<Error><Code>SlowDown</Code></Error>`, `<ListBucketResult/>`, `<ListBucketResult>`, ``, `<`, `<>`, `</>`, head + object("a", "")[:40],
	head + `<Contents a="b"><Key>x</Key></Contents></ListBucketResult>`,
}

// What is read quickly is what encoding/xml reads; what it does not understand is left alone.
func FuzzParsePage(f *testing.F) {
	for _, seed := range pageSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parsePage(b)
		if !ok {
			return
		}
		objects, next, understood := slowly(b)
		if !understood {
			return // there is more that XML forbids than is looked at
		}
		if p.err == nil && p.next != next {
			t.Errorf("next %q instead of %q", p.next, next)
		}
		if !slices.Equal(objects, p.objects) {
			t.Errorf("%+v instead of %+v", p.objects, objects)
		}
	})
}

func TestParsePage(t *testing.T) {
	for i, seed := range pageSeeds[:7] {
		p, ok := parsePage([]byte(seed))
		objects, next, understood := slowly([]byte(seed))
		if !ok || !understood || p.next != next || !slices.Equal(objects, p.objects) {
			t.Errorf("%d: %+v, %v instead of %+v, %q, %v", i, p, ok, objects, next, understood)
		}
	}
	for _, seed := range pageSeeds[7:] {
		if p, ok := parsePage([]byte(seed)); ok {
			t.Errorf("%s: %+v", seed, p)
		}
	}
	if p, ok := parsePage([]byte(head + `<IsTruncated>True</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>`)); ok {
		t.Errorf("cut in other words: %+v", p)
	}
	if p, ok := parsePage([]byte(head + `<IsTruncated>true</IsTruncated></ListBucketResult>`)); !ok || p.err != errCut {
		t.Errorf("%+v, %v", p, ok)
	}
}

// Any metadata comes back as it went.
func TestMetadata(t *testing.T) {
	check := func(value string) bool {
		value = strings.ToValidUTF8(value, "?")
		sent, err := toHeaders(map[string]string{"name": value})
		if err != nil {
			return false
		}
		for _, c := range []byte(sent["name"]) {
			if c < ' ' || c > '~' {
				return false
			}
		}
		for _, word := range strings.Fields(sent["name"]) {
			if strings.HasPrefix(word, "=?") && len(word) > 75 {
				return false
			}
		}
		return maps.Equal(fromHeaders(map[string]string{"Name": sent["name"]}), map[string]string{"name": value})
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
	for _, value := range []string{"", " ", "a  b", "=?", "=?UTF-8?B?eA==?=", "plain", strings.Repeat("\U0001f600", 100), "a\r\nX-Amz-Acl: public-read", "\x00"} {
		if !check(value) {
			t.Errorf("%q", value)
		}
	}
	for _, name := range []string{"", "Upper", "a b", "ä", "a:b", "a\n", strings.Repeat("x", 129)} {
		if _, err := toHeaders(map[string]string{name: "x"}); err == nil {
			t.Errorf("%q", name)
		}
	}
	if _, err := toHeaders(map[string]string{"a": "\xff"}); err == nil {
		t.Error("no UTF-8")
	}
	// what others write
	for sent, want := range map[string]string{"=?UTF-8?Q?b=C3=A4r?=": "bär", "=?iso-8859-1?q?b=E4r?=": "bär", "=?broken": "=?broken", "bär": "bär"} {
		if got := fromHeaders(map[string]string{"a": sent})["a"]; got != want {
			t.Errorf("%q: %q", sent, got)
		}
	}
}

func FuzzMend(f *testing.F) {
	for _, seed := range []string{"<Key>a\x01b</Key>", "<Key>&#x1;&#65;&#xFFFE;</Key>", "&#", "&#x;", "&#99999999999;", "\xff\xfe", "<a>&#x0000000000041;</a>"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := len(b)
		if got := mend(b); len(got) != n {
			t.Errorf("%d bytes of %d", len(got), n)
		}
	})
}

func TestMend(t *testing.T) {
	for text, want := range map[string]string{"<Key>a\x01b\ufffe</Key>": "<Key>a?b???</Key>", "&#x1;&#65;&#10;&amp;": "?????&#65;&#10;&amp;", "\xff": "?", "ä&#x;": "ä????"} {
		got := string(mend([]byte(text)))
		if got != want {
			t.Errorf("%q: %q instead of %q", text, got, want)
		}
		var v any
		if err := xml.Unmarshal([]byte("<a>"+strings.ReplaceAll(strings.ReplaceAll(got, "<Key>", ""), "</Key>", "")+"</a>"), &v); err != nil && strings.Contains(err.Error(), "illegal") {
			t.Errorf("%q: %v", got, err)
		}
	}
}

func TestEscapePath(t *testing.T) {
	for _, key := range []string{"a b+c%20/ä//../\x01\n", "plain/key.txt", "?#&=;"} {
		got := escapePath(key)
		back, err := url.PathUnescape(got)
		spaces, err2 := url.QueryUnescape(got)
		if err != nil || err2 != nil || back != key || spaces != key {
			t.Errorf("%q: %q", key, got)
		}
	}
}

func TestParseRange(t *testing.T) {
	for text, ok := range map[string]bool{"bytes 0-4/5": true, "bytes 3-4/5": true, "bytes */5": false, "bytes 0-4/*": false, "": false, "bytes 5-4/5": false, "0-4/5": true, "bytes -1-4/5": false} {
		if _, _, got := parseRange(text); got != ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestIsPath(t *testing.T) {
	for key, want := range map[string]bool{"a": true, "a/b": true, "a/": true, "a/b/": true, "/": false, "//": false, "/a": false, "a//b": false, "a//": false, ".": false, "..": false, "a/.": false, "a/../b": false,
		"...": true, "a/..b": true} {
		if got := isPath(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}

func TestParseSum(t *testing.T) {
	for _, text := range []string{"", "x", "AAAA", "AAAAAAAAAAA=-0", "AAAAAAAAAAA=-x", "AAAAAAAAAAA=-", strings.Repeat("A", 200)} {
		if s := parseSum(bucket.CRC64NVME, &text, 8); s != nil {
			t.Errorf("%q: %+v", text, s)
		}
	}
	text := "AAAAAAAAAAE=-7"
	if s := parseSum(bucket.CRC64NVME, &text, 8); s == nil || s.Parts != 7 || s.Value[7] != 1 {
		t.Errorf("%+v", s)
	}
}
