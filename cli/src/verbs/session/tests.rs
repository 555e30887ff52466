use super::*;

#[test]
fn people_read_the_names_of_vaults_and_the_ids_of_those_that_went() {
    let names = BTreeMap::from([("vlt_1".to_owned(), Value::from("payments"))]);
    let mut session = json!({"id": "ses_1", "vaults": ["vlt_1", "vlt_2"]});
    name_vaults(&mut session, &names);
    assert_eq!(session["vaults"], json!(["payments", "vlt_2"]));
    let mut odd = json!({"vaults": "vlt_1"});
    name_vaults(&mut odd, &names);
    assert_eq!(odd, json!({"vaults": "vlt_1"}));
}
