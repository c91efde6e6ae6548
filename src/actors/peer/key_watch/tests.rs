use super::*;
use crate::base::Secret;
use crate::register::Seat;

fn id(n: u8) -> KekId {
    KekId([n; 16])
}

fn name(n: usize) -> NodeName {
    NodeName::parse(&format!("n{n}")).unwrap()
}

fn ring(generations: &[u8]) -> Arc<Keyring> {
    let keys = generations.iter().map(|n| (u32::from(*n), Secret::new([*n; 32]))).collect();
    let ring = Keyring::new(keys).unwrap();
    let first = ring.generations()[0].1;
    assert!(ring.seal_with(first));
    Arc::new(ring)
}

fn watch(generations: &[u8], peers: &[usize]) -> KeyWatch {
    KeyWatch::new(ring(generations), peers.iter().map(|n| name(*n)), Duration::from_secs(3600))
}

/// The key of a generation, as every ring here has it.
fn kek(n: u8) -> KekId {
    ring(&[n]).active()
}

fn list(lives: &[u64]) -> Roster {
    let seat = |n: &u64| Seat { name: name(usize::try_from(*n).unwrap()), incarnation: Incarnation(*n) };
    Roster::founding(1, lives.iter().map(seat).collect())
}

const ME: Incarnation = Incarnation(1);

#[test]
fn a_generation_may_seal_when_all_members_have_said_that_they_open_it() {
    let own = watch(&[1, 2, 3], &[2, 3]);
    let members = list(&[1, 2, 3]);
    let key = |number, n| ActiveKey { number, kek: kek(n) };
    let lacking = |number, lacks: &[usize], silent: &[usize]| {
        let names = |all: &[usize]| all.iter().map(|n| name(*n)).collect();
        Err(Unready::Lacking { number, lacks: names(lacks), silent: names(silent) })
    };
    assert_eq!(own.ready(None, Some(&list(&[1])), ME), Ok(key(3, 3)), "a list of itself");
    assert_eq!(own.ready(None, Some(&members), ME), lacking(3, &[], &[2, 3]), "silence is no yes");
    own.heard(&name(2), Incarnation(2), watch(&[1, 2], &[]).news());
    assert_eq!(own.ready(None, Some(&members), ME), lacking(3, &[2], &[3]));
    own.heard(&name(3), Incarnation(33), watch(&[1, 2, 3], &[]).news());
    assert_eq!(own.ready(None, Some(&members), ME), lacking(3, &[2], &[3]), "another life has the place");
    assert_eq!(own.ready(None, None, ME), lacking(3, &[2], &[]), "without a list all configured nodes count");
    own.heard(&name(3), Incarnation(3), watch(&[1, 2, 3], &[]).news());
    assert_eq!(own.ready(Some(2), Some(&members), ME), Ok(key(2, 2)), "the one that was asked for");
    assert_eq!(own.ready(Some(7), Some(&members), ME), Err(Unready::Unknown(7)));
    own.heard(&name(2), Incarnation(2), watch(&[1, 2, 3], &[]).news());
    assert_eq!(own.ready(None, Some(&members), ME), Ok(key(3, 3)));
    let changing = list(&[1, 3]).next(2, &[Seat { name: name(2), incarnation: Incarnation(22) }]);
    assert_eq!(own.ready(None, Some(&changing), ME), lacking(3, &[], &[2]), "both lists count");
    assert!(own.ring.seal_with(kek(3)));
    assert_eq!(own.ready(None, Some(&members), ME), Ok(key(3, 3)), "it seals already");
    assert_eq!(own.ready(Some(2), Some(&members), ME), Err(Unready::Older { number: 2, active: 3 }));
    let told = lacking(2, &[2], &[3]).map(|_: ActiveKey| ()).unwrap_err().to_string();
    assert!(told.contains("missing on n2, nothing heard lately of n3"), "{told}");
}

#[test]
fn what_was_decided_seals_and_what_others_seal_under_and_nothing_older() {
    let own = watch(&[1, 2, 3], &[2]);
    let decided = |n: u8| Some(ActiveKey { number: u32::from(n), kek: kek(n) });
    assert_eq!(own.next(None), None);
    assert_eq!(own.next(decided(2)), Some(kek(2)));
    assert_eq!(own.next(decided(9)), None, "it is not held here");
    let told = |n: u8| KeyNews { seals: kek(n), ..watch(&[1, 2, 3], &[]).news() };
    own.heard(&name(2), Incarnation(2), told(3));
    assert_eq!(own.next(decided(2)), Some(kek(3)), "it was decided, and is not known here yet");
    assert!(own.ring.seal_with(kek(3)));
    own.heard(&name(2), Incarnation(2), told(1));
    assert_eq!(own.next(decided(2)), None, "never an older one");
}

#[test]
fn a_generation_may_go_when_all_members_need_it_no_more() {
    let used = |kek, references, is_free| KeyUse { kek, references, is_free };
    let of = |n: u8, free: bool, settles| {
        let watch = watch(&[1, 2], &[2, 3]);
        assert!(watch.ring.seal_with(kek(n)));
        let uses = move || vec![used(kek(1), u64::from(!free), free), used(kek(2), 7, false)];
        watch.with_uses(uses, settles)
    };
    let (me, members) = (name(1), list(&[1, 2, 3]));
    let shown = |watch: &KeyWatch| watch.show(&me, Some(&members), ME);
    let needed = |watch: &KeyWatch| (shown(watch)[0].needed_by.clone(), shown(watch)[0].removable);
    let own = of(2, true, Duration::ZERO);
    assert_eq!(needed(&own), (vec![name(2), name(3)], false), "silence is no yes");
    own.heard(&name(2), Incarnation(2), of(2, false, Duration::ZERO).news());
    own.heard(&name(3), Incarnation(3), of(2, true, Duration::ZERO).news());
    assert_eq!(needed(&own), (vec![name(2)], false));
    own.heard(&name(2), Incarnation(2), of(2, true, Duration::ZERO).news());
    assert_eq!(needed(&own), (vec![], true));
    assert_eq!((shown(&own)[1].removable, shown(&own)[1].references), (false, 7), "the one that seals stays");
    own.heard(&name(2), Incarnation(2), watch(&[2], &[]).news());
    assert_eq!(needed(&own), (vec![], true), "its file is gone there");
    let without = watch(&[2], &[]).with_uses(move || vec![used(kek(1), 7, false)], Duration::ZERO);
    own.heard(&name(2), Incarnation(2), without.news());
    assert_eq!(needed(&own), (vec![name(2)], false), "its file is gone there too early");
    assert_eq!(without.show(&name(2), None, ME).len(), 1, "what it does not open is none of its own");
    own.heard(&name(2), Incarnation(2), watch(&[2], &[]).news());
    let young = of(2, true, Duration::from_secs(3600));
    young.heard(&name(2), Incarnation(2), of(2, true, Duration::ZERO).news());
    young.heard(&name(3), Incarnation(3), of(2, true, Duration::ZERO).news());
    assert_eq!(needed(&young), (vec![me.clone()], false), "something may be on its way");
    assert_eq!((own.free(), young.free()), (vec![kek(1)], vec![]));
}

#[test]
fn two_keys_of_one_number_clash() {
    let own = watch(&[1, 2], &[2, 3]);
    let key = |n: u8, byte: u8| (u32::from(n), Secret::new([byte; 32]));
    let other = KeyWatch::new(Arc::new(Keyring::new(vec![key(1, 1), key(2, 22)]).unwrap()), [], Duration::ZERO);
    own.heard(&name(2), Incarnation(2), other.news());
    own.heard(&name(3), Incarnation(3), watch(&[1, 2], &[]).news());
    let shown = own.show(&name(1), None, ME);
    assert_eq!(shown.iter().map(|key| &key.clashes_with[..]).collect::<Vec<_>>(), [&[][..], &[name(2)]]);
    assert_eq!(own.ready(None, None, ME), Err(Unready::Clashes { number: 2, clashes: vec![name(2)] }));
    own.heard(&name(4), Incarnation(4), watch(&[1, 2], &[]).news());
    assert_eq!(own.table().len(), 2, "who is not configured is not remembered");
}

#[test]
fn what_others_seal_under_is_missed() {
    let own = watch(&[1], &[2]);
    assert_eq!(own.missing(), None);
    let both = watch(&[1, 2], &[]).news();
    own.heard(&name(2), Incarnation(2), both.clone());
    assert_eq!(own.missing(), None, "it does not seal yet");
    own.heard(&name(2), Incarnation(2), KeyNews { seals: kek(2), ..both });
    assert_eq!(own.missing(), Some((Some(2), kek(2))));
    own.ring.grow(vec![(1, Secret::new([1; 32])), (2, Secret::new([2; 32]))], &[]).unwrap();
    assert_eq!(own.missing(), None);
    assert!(!own.ring.opens(id(9)));
    assert_eq!(own.missing(), Some((None, id(9))), "something here needs it");
}
