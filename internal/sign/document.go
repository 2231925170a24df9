package sign

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// jsonContext keeps signatures of documents apart from those of messages, which go on with a kind.
const jsonContext = "firn/1 json\n"

const signatureName = "signature"

// SignJSON returns doc, anything that encoding/json writes as an object, as indented JSON with a last member "signature": base64 of the Ed25519
// signature over "firn/1 json\n" and the canonical form of doc (FORMAT §3). doc must not have such a member; its values are those that JCS takes. The
// order of the members is kept.
func SignJSON(seed [32]byte, doc any) ([]byte, error) {
	raw, err := encode(doc)
	if err != nil {
		return nil, err
	}
	v, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if v.kind != 'o' {
		return nil, fmt.Errorf("%w: not an object", ErrJSON)
	}
	if _, found := v.take(signatureName); found {
		return nil, fmt.Errorf("%w: it has a signature already", ErrJSON)
	}
	sig := ed25519.Sign(ed25519.NewKeyFromSeed(seed[:]), v.appendTo([]byte(jsonContext)))
	raw = bytes.TrimRight(raw, " \t\r\n")
	raw = bytes.TrimRight(raw[:len(raw)-1:len(raw)-1], " \t\r\n")
	if len(v.members) > 0 {
		raw = append(raw, ',')
	}
	raw = fmt.Appendf(raw, "%q:%q}", signatureName, base64.StdEncoding.EncodeToString(sig))
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJSON, err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// VerifyJSON checks the signature of the document raw: nil, ErrSignature, or an error that matches ErrJSON where raw is no signed document. Members
// that the caller does not know are covered too.
func VerifyJSON(pub ed25519.PublicKey, raw []byte) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("public key of %d bytes instead of %d", len(pub), ed25519.PublicKeySize)
	}
	v, err := parse(raw)
	if err != nil {
		return err
	}
	member, found := v.take(signatureName)
	if !found || member.kind != 's' {
		return fmt.Errorf("%w: no signature in it", ErrJSON)
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(member.text)
	if err != nil || len(sig) != SignatureSize {
		return fmt.Errorf("%w: its signature is not base64 of %d bytes", ErrJSON, SignatureSize)
	}
	if !ed25519.Verify(pub, v.appendTo([]byte(jsonContext)), sig) {
		return ErrSignature
	}
	return nil
}

// take removes the member of that name from an object.
func (v *value) take(name string) (value, bool) {
	for i := range v.members {
		if v.members[i].name == name {
			m := v.members[i].value
			v.members = append(v.members[:i:i], v.members[i+1:]...)
			return m, true
		}
	}
	return value{}, false
}
